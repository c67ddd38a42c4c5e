source "file" "image" {
  content = "an image"
  target  = "image.raw"
}

build {
  sources = ["source.file.image"]

  post-processor "checksum" {
    checksum_types = ["md5", "sha256"]
    output         = "image.{{.ChecksumType}}"
  }
}
