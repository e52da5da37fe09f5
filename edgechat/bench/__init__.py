"""The benchmarks behind `edgechat bench`."""
