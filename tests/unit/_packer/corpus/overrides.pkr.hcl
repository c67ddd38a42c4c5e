# One source in two builds of it, with other contents.
source "file" "site" {}

build {
  name = "sites"

  source "file.site" {
    name    = "north"
    content = "north"
    target  = "north.txt"
  }
  source "file.site" {
    name    = "south"
    content = "south"
    target  = "south.txt"
  }

  provisioner "shell-local" {
    inline = ["echo building ${source.name}"]
  }

  post-processor "checksum" {
    only           = ["file.north"]
    checksum_types = ["md5"]
    output         = "north.md5"
  }
}
