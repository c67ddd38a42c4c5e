variable "release" {
  type    = string
  default = "0"
}

variable "mirrors" {
  type = list(string)
}

locals {
  name = "web-${var.release}"
  list = join("\n", [for mirror in var.mirrors : "deb ${mirror} main"])
}
