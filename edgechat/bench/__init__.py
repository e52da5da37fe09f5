"""Everything that measures, behind `edgechat bench`."""
