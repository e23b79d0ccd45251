terraform {
  required_version = ">= 1.5"
}
locals {
  name = "web-${var.stage}"
  # a comment
  ports = [80, 443]
}
locals {
  more = { "a.b" = 1, c = true, (var.key) = null }
}
resource "aws_instance" "web" {
  count         = var.on ? 1 : 0
  ami           = data.aws_ami.latest.id
  price         = -1.5
  user_data     = <<-EOT
    #!/bin/sh
    echo "$${HOME}" %{ if var.debug }debug%{ else }quiet%{ endif }
  EOT
  ebs_block_device {
    device_name = "sda1"
  }
  ebs_block_device {
    device_name = "sda2"
  }
  tags = merge(local.tags, { Name = "web" })
}
resource "aws_instance" "db" {
  not = !var.on
}
module "vpc" {
  source = "./vpc"
  cidrs  = [for s in var.subnets : s.cidr if s.public]
}
