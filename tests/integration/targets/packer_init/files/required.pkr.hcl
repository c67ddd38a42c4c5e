packer {
  required_plugins {
    qemu = {
      source  = "github.com/hashicorp/qemu"
      version = ">= 1.0.0, < 2"
    }
  }
}

variable "token" {
  type      = string
  sensitive = true
}

source "qemu" "web" {
  iso_url      = "disk.qcow2"
  iso_checksum = "none"
  disk_image   = true
  communicator = "none"
}

build {
  sources = ["source.qemu.web"]
}
