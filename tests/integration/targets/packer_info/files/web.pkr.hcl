variable "wanted" {
  type = string
}

source "file" "note" {
  content = var.wanted
  target  = "note.txt"
}

build {
  name    = "web"
  sources = ["source.file.note"]
}

variable "count" {
  type    = number
  default = 3
}

variable "token" {
  type      = string
  default   = "not-shown"
  sensitive = true
}
