# A project's SQS, SNS and NATS with the Scaleway provider:
#   mnq serve &
#   set -a; . mnq-data/admin.env; set +a
#   terraform init && terraform apply
# The provider takes the address of the API and the keys from the SCW_ variables.
terraform {
  required_providers {
    scaleway = {
      source  = "scaleway/scaleway"
      version = "~> 2.60"
    }
  }
}

provider "scaleway" {}

resource "scaleway_mnq_sqs" "this" {}

resource "scaleway_mnq_sqs_credentials" "worker" {
  project_id = scaleway_mnq_sqs.this.project_id
  name       = "worker"
  permissions {
    can_manage  = true
    can_publish = true
    can_receive = true
  }
}

resource "scaleway_mnq_sqs_queue" "orders" {
  project_id   = scaleway_mnq_sqs.this.project_id
  name         = "orders"
  sqs_endpoint = scaleway_mnq_sqs.this.endpoint
  access_key   = scaleway_mnq_sqs_credentials.worker.access_key
  secret_key   = scaleway_mnq_sqs_credentials.worker.secret_key
}

resource "scaleway_mnq_sns" "this" {}

resource "scaleway_mnq_sns_credentials" "publisher" {
  project_id = scaleway_mnq_sns.this.project_id
  name       = "publisher"
  permissions {
    can_manage  = true
    can_publish = true
    can_receive = true
  }
}

resource "scaleway_mnq_sns_topic" "news" {
  project_id   = scaleway_mnq_sns.this.project_id
  name         = "news"
  sns_endpoint = scaleway_mnq_sns.this.endpoint
  access_key   = scaleway_mnq_sns_credentials.publisher.access_key
  secret_key   = scaleway_mnq_sns_credentials.publisher.secret_key
}

resource "scaleway_mnq_nats_account" "shop" {
  name = "shop"
}

resource "scaleway_mnq_nats_credentials" "shop" {
  name       = "shop"
  account_id = scaleway_mnq_nats_account.shop.id
}

output "nats" {
  value = scaleway_mnq_nats_account.shop.endpoint
}
