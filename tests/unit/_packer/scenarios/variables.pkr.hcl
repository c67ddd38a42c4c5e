variable "needed" {
  type = number
}

variable "name" {
  type    = string
  default = "shop"
}

variable "token" {
  type      = string
  default   = "shown-to-nobody"
  sensitive = true
}

source "file" "note" {
  content = var.name
  target  = "note.txt"
}

source "null" "shell" {
  communicator = "none"
}

build {
  name    = "pair"
  sources = ["source.file.note", "source.null.shell"]
}
