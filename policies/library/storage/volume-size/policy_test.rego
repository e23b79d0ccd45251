package portcullis.storage.volume_size_test

import data.portcullis.storage.volume_size

claim(size) := {
	"parameters": {"maximum": "1Gi"},
	"object": {"kind": "PersistentVolumeClaim", "spec": {"resources": {"requests": {"storage": size}}}},
}

passes(size) if count(volume_size.deny) == 0 with input as claim(size)

test_every_way_to_write_a_quantity_is_read if {
	every size in ["1Gi", "1024Mi", "1G", "1073741824", 1073741824, "1e9", "1E3", "0.5Gi", "100m", "900k"] { passes(size) }
	every size in ["1.1Gi", "1025Mi", "2G", "1073741825", 1073741825, "2e9", "1E", "1Ti", "1P"] { not passes(size) }
}

test_what_cannot_be_read_is_too_large if {
	every size in ["", "1 Gi", "Gi", "1gb", "-1", "1e999", null, {}] { not passes(size) }
}

test_a_claim_without_a_size_is_too_large if {
	some finding in volume_size.deny with input as {"parameters": {"maximum": "1Gi"}, "object": {"kind": "PersistentVolumeClaim", "spec": {}}}
	finding.msg == "the claim asks for any amount of storage; at most 1Gi is allowed"
}
