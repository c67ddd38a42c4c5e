source "null" "slow" {
  communicator = "none"
}

build {
  sources = ["source.null.slow"]

  provisioner "shell-local" {
    inline = ["trap '' INT", "echo patience", "exec sleep 300"]
  }
}
