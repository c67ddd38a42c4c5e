# The build makes its files itself; artifice says which count.
source "null" "maker" {
  communicator = "none"
}

build {
  sources = ["source.null.maker"]

  provisioner "shell-local" {
    inline = ["echo disk > disk.vmdk", "echo about > disk.ovf"]
  }

  post-processors {
    post-processor "artifice" {
      files = ["disk.vmdk", "disk.ovf"]
    }
    post-processor "checksum" {
      checksum_types = ["sha256"]
      output         = "disk.sha256"
    }
  }
}
