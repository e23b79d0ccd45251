// Package v1alpha1 holds the custom resources of secrets.portcullis.dev: VaultConnection, VaultAuth, VaultSecret, VaultPush, and
// VaultLease, which portcullis-secrets keeps for itself. None of them holds a value of a secret; a VaultLease holds a token of
// Vault, encrypted.
package v1alpha1
