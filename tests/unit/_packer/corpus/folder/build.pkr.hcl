build {
  name    = "web"
  sources = ["source.file.list", "source.null.check"]

  provisioner "shell-local" {
    only   = ["null.check"]
    inline = ["echo checked ${local.name}"]
  }

  post-processor "manifest" {
    output = "packer-manifest.json"
  }
}
