# Post-processors in a row, each on what the one before it made.
source "file" "image" {
  content = "an image"
  target  = "image.raw"
}

build {
  sources = ["source.file.image"]

  post-processors {
    post-processor "compress" {
      output = "image.tar.gz"
    }
    post-processor "checksum" {
      checksum_types = ["sha256"]
      output         = "image.tar.gz.sha256"
    }
    post-processor "manifest" {
      output = "packer-manifest.json"
    }
  }
}
