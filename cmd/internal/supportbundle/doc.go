// Package supportbundle gathers what somebody who helps needs to see of an installation: our own objects, the Deployments, pods and events of our
// namespace, logs, metrics and what each process says of itself, as files of one archive.
//
// No secret is in it. Secrets, ConfigMaps, VaultLeases and the evidence of quarantines are not even read; values of environment variables and
// annotations are replaced; all other text goes through [redaction]. An index says what is inside, what was left out, and why. It is bounded, and
// the same installation gives the same files in the same order.
package supportbundle
