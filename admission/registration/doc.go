// Package registration keeps what the API server must be told so that it asks the webhook: a ValidatingWebhookConfiguration and a
// MutatingWebhookConfiguration, and the certificates that stand behind them.
//
// A webhook that fails closed is the best way to stop a cluster, so most of this package is about not doing that:
//
//   - Nothing is registered before an endpoint of the webhook is ready: at the bootstrap of a cluster a configuration without
//     anybody behind it would refuse the webhook's own pods' neighbours. Once registered it stays, whoever goes: to withdraw it with
//     the endpoints would hand the cluster to whoever can stop them.
//   - Rules follow from the policies that are active, computed anew whenever these change. An empty configuration is never
//     written, and what cannot be computed leaves the last one in place.
//   - Whatever is changed by others is put back: rules, bundles of authorities, timeouts, the objects themselves.
//   - An authority is in all configurations for [DefaultSpread] before it signs, and stays for [DefaultKeep] after the last
//     certificate of its predecessor was replaced. The state is that of two Secrets; no timer is lost by a restart.
//   - The glass can be broken, for at most four hours and with a trace: by a BreakGlass, and by an annotation where nothing of ours
//     works. It ends by the clock, whether or not anybody was running.
//   - Uninstall takes the configurations away, and leaves a mark by which a controller that still runs does not put them back.
//
// What has been decided is kept in a Lease, because Leases are the one kind that no webhook of ours is ever asked about.
package registration
