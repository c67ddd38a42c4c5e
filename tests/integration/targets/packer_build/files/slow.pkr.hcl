source "null" "slow" {
  communicator = "none"
}

build {
  sources = ["source.null.slow"]

  provisioner "shell-local" {
    # Packer itself ends the script, also on a busy machine.
    execute_command = ["/bin/sh", "-c", "trap '' INT; {{.Vars}} {{.Script}}"]
    inline          = ["echo patience", "exec sleep 300"]
  }
}
