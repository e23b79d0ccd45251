package v1alpha1

import (
	"crypto/sha256"
	"encoding/hex"
)

// IncidentName is the name of the Incident that a quarantine makes about a subject (a digest, "apps/Deployment/shop/web" or
// "ServiceAccount/shop/web"): one for each, however often it is made.
func IncidentName(quarantine, scope, subject string) string {
	sum := sha256.Sum256([]byte(scope + "\n" + subject))
	return quarantine + "-" + hex.EncodeToString(sum[:5])
}

// NetworkPolicyName is the name of the NetworkPolicy of a quarantine.
func NetworkPolicyName(quarantine string) string { return NetworkPolicyPrefix + quarantine }
