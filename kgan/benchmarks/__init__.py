"""Measurements that README's figures come from."""
