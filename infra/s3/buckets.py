"""Make the buckets that are named and not there yet: `python buckets.py NAME...`, with the store in the environment."""

import sys

import boto3

store = boto3.client("s3")
there = {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}
for name in sys.argv[1:]:
    if name not in there:
        store.create_bucket(Bucket=name)
        print("made", name)  # noqa: T201
