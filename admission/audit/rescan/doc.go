// Package rescan has images that run scanned again when the vulnerability database has moved: a scan says what was known on the day on
// which it was made.
//
// "The database now" is the newest one that any scan of the cluster was made with: scanners write it into the ImageScan objects, and scan
// one image at once when they have a newer one. Nothing else is asked, and nothing beyond the API server.
//
// A [Rescan] asks for images without any scan first, then for those whose last scan found the worst, then for the newest. It asks for
// few at a time, so that what somebody waits for is not behind thousands, and one object stands for each digest, so that
// replicas that run the same image ask once. What is known of an image stays until its new scan has ended; then whoever keeps what was
// found is told.
package rescan
