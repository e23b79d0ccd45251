package portcullis.pods.device_admin_access_test

import data.portcullis.pods.device_admin_access

claim(namespace, spec) := {
	"parameters": {"namespaces": ["gpu-monitoring"]},
	"request": {"namespace": namespace},
	"object": {"spec": spec},
}

exactly(value) := {"devices": {"requests": [{"exactly": {}}, {"exactly": {"adminAccess": value}}]}}

direct(value) := {"devices": {"requests": [{"adminAccess": value}]}}

paths contains finding.path if some finding in device_admin_access.deny

test_every_shape_of_the_api_is_seen if {
	paths == {"spec.devices.requests[1].exactly.adminAccess"} with input as claim("shop", exactly(true))
	paths == {"spec.devices.requests[0].adminAccess"} with input as claim("shop", direct(true))
	paths == {"spec.spec.devices.requests[1].exactly.adminAccess"} with input as claim("shop", {"spec": exactly(true)})
	paths == {"spec.spec.devices.requests[0].adminAccess"} with input as claim("shop", {"spec": direct(true)})
}

test_false_is_not_asking if count(paths) == 0 with input as claim("shop", exactly(false))

test_allowed_namespaces_pass if count(paths) == 0 with input as claim("gpu-monitoring", exactly(true))
