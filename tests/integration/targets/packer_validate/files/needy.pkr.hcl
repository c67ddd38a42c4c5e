variable "wanted" {
  type = string
}

source "file" "note" {
  content = var.wanted
  target  = "note.txt"
}

build {
  sources = ["source.file.note"]
}
