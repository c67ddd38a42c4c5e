source "null" "shell" {
  communicator = "none"
}

build {
  sources = ["source.null.shell"]

  provisioner "shell-local" {
    inline = ["echo on the error stream >&2", "exit 7"]
  }
}
