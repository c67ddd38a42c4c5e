# The commonest of all: one image, and a manifest for the next step of a pipeline.
source "file" "image" {
  content = "an image"
  target  = "image.raw"
}

build {
  sources = ["source.file.image"]

  post-processor "manifest" {
    output     = "packer-manifest.json"
    strip_path = true
    custom_data = {
      release = "7"
    }
  }
}
