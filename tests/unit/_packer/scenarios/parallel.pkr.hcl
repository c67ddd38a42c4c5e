source "file" "left" {
  content = "left"
  target  = "left.txt"
}

source "file" "right" {
  content = "right"
  target  = "right.txt"
}

source "null" "wrong" {
  communicator = "none"
}

build {
  sources = ["source.file.left", "source.file.right", "source.null.wrong"]

  provisioner "shell-local" {
    inline = ["echo this is $PACKER_BUILD_NAME", "test $PACKER_BUILD_NAME != wrong"]
  }
}
