# Post-processors side by side, each on the image itself, which stays.
source "file" "image" {
  content = "an image"
  target  = "image.raw"
}

build {
  sources = ["source.file.image"]

  post-processor "compress" {
    output              = "image.tar.gz"
    keep_input_artifact = true
  }
  post-processor "checksum" {
    checksum_types = ["sha1"]
    output         = "image.sha1"
  }
  post-processor "manifest" {}
  post-processor "shell-local" {
    inline = ["echo done"]
  }
}
