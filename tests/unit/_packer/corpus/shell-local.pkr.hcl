source "file" "image" {
  content = "an image"
  target  = "image.raw"
}

build {
  sources = ["source.file.image"]

  post-processor "shell-local" {
    environment_vars = ["KIND=raw"]
    inline           = ["echo the kind is $KIND", "cp image.raw copy.raw"]
  }
}
