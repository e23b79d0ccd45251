// Package restart restarts the workloads that use a key of a Secret whose value has changed: once, one after another, and only while those
// before are available.
//
// A workload uses what the template of its pods refers to: a key by env, all keys by envFrom, the items of a volume or all of them; in init
// containers too; as the pull secret of its images the keys that such Secrets have. It is restarted if the hash of just these keys is another than
// before, and what it was restarted for stands in the template itself, and in the status: so neither a new leader, nor a crash
// between the two, nor a tool that takes the annotation away again restarts it a second time. Where it is not known what it had before (the
// first sync, another hash key) nothing is restarted.
//
// A restart is a change of the template, as that of kubectl rollout restart: the workload's own strategy (maxUnavailable, maxSurge,
// partitions) says how many pods go at a time. A PodDisruptionBudget is not asked, here as there: it is about evictions. An HPA may change
// the number of replicas meanwhile; what counts is the number that is wanted when one looks.
//
// What has no rollout of its own is left to those who asked for that: a paused Deployment, an update strategy OnDelete. Jobs, CronJobs and
// pods without controller are not restarted: the next one starts with what is there.
package restart
