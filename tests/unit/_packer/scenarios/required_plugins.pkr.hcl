packer {
  required_plugins {
    nowhere = {
      source  = "github.com/nobody/nowhere"
      version = ">= 1.2.3"
    }
  }
}

source "null" "x" {
  communicator = "none"
}

build {
  sources = ["source.null.x"]
}
