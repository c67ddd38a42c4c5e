source "file" "quick" {
  content = "quick"
  target  = "quick.txt"
}

source "null" "slow" {
  communicator = "none"
}

build {
  sources = ["source.file.quick", "source.null.slow"]

  provisioner "shell-local" {
    only   = ["null.slow"]
    inline = ["echo started", "sleep 300"]
  }
}
