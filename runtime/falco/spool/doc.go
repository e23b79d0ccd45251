// Package spool is a log on disk of records that wait for being dealt with.
//
// [Log.Append] returns when the kernel has the record: a process that is killed loses nothing that was appended. The disk
// has it [Options.Flush] later at most, many records by one fsync. [Log.Done] says that a record has been dealt with; what was not
// done when the process ended, [Open] hands out again. A segment goes when everything in it is done.
//
// A log is a folder:
//
//	0000000000000001.log    a segment: records, oldest first
//	0000000000000001.done   one byte for each record of it, 0xD5 if it is done
//	lock                    held by the process that has the log
//
// A segment begins with "PCSPOOL1" and its number (8 bytes), and has records of length (4 bytes), CRC-32C (4 bytes) and content,
// integers in little-endian order. The checksum covers the segment's number, the record's place in it and the length, too, so that a
// record is valid only where it was written. A process never writes to segments of the one before: what its death left half written at an
// end is cut off there and reported.
//
// Why not a library. go.etcd.io/bbolt writes pages and then their root: without fsync a power failure may cost the whole file, and an
// fsync for each event is fifty times the time that one may take. etcd's wal, the best-tested of logs, keeps what it is given in a buffer of
// its own until the next fsync, and is made of terms of Raft. tidwall/wal has no checksums, and does not open after a torn write.
// hashicorp/raft-wal synchronises each write and has one end that moves, as Raft needs it: records here are done in any order.
// Prometheus' wlog comes nearest, and with it comes Prometheus.
package spool
