package portcullis.storage.encrypted_classes_test

import data.portcullis.storage.encrypted_classes

class(provisioner, parameters) := {
	"parameters": {
		"provisioners": [{"provisioner": "ebs.csi.aws.com", "parameter": "encrypted", "values": ["true"]}],
		"alwaysEncrypted": ["pd.csi.storage.gke.io"],
	},
	"object": {"provisioner": provisioner, "parameters": parameters},
}

passes(provisioner, parameters) if count(encrypted_classes.deny) == 0 with input as class(provisioner, parameters)

test_the_parameter_has_to_be_there if {
	passes("ebs.csi.aws.com", {"encrypted": "true"})
	not passes("ebs.csi.aws.com", {"encrypted": "false"})
	not passes("ebs.csi.aws.com", {})
	not passes("ebs.csi.aws.com", null)
}

test_some_provisioners_always_encrypt if passes("pd.csi.storage.gke.io", {})

test_unknown_provisioners_are_objected_to if not passes("rancher.io/local-path", {"encrypted": "true"})
