package spool

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
)

const (
	magic        = "PCSPOOL1"
	headerSize   = len(magic) + 8
	recordHeader = 8
	// doneMark is no byte that a disk makes of itself: not 0 and not 0xFF.
	doneMark = 0xD5
)

// segment is one file of records.
type segment struct {
	number uint64
	path   string
	// log is open while the segment is there; done from the first record on that is done in this process.
	log, done file
	size      int64
	finished  []bool // by record
	open      int    // records that are not done
	sealed    bool   // nothing is appended any more
	dirty     bool   // something is not synchronised
}

// checksum is that of a record at its place.
func checksum(segment uint64, index int, content []byte) uint32 {
	var place [16]byte
	binary.LittleEndian.PutUint64(place[0:], segment)
	binary.LittleEndian.PutUint32(place[8:], uint32(index))
	binary.LittleEndian.PutUint32(place[12:], uint32(len(content)))
	table := crc32.MakeTable(crc32.Castagnoli) // made once by the package
	return crc32.Update(crc32.Update(0, table, place[:]), table, content)
}

func header(number uint64) []byte {
	return binary.LittleEndian.AppendUint64([]byte(magic), number)
}

// appendRecord writes a record to a buffer.
func appendRecord(out []byte, segment uint64, index int, content []byte) []byte {
	out = binary.LittleEndian.AppendUint32(out, uint32(len(content)))
	out = binary.LittleEndian.AppendUint32(out, checksum(segment, index, content))
	return append(out, content...)
}

// record is the content of the record at an offset of a segment's bytes, with where the next one begins. It is not ok if there is none, and
// then next is where one would begin if the length were right, 0 if it cannot be.
func record(data []byte, offset int, segment uint64, index int) (content []byte, next int, ok bool) {
	if len(data)-offset < recordHeader {
		return nil, 0, false
	}
	length := int64(binary.LittleEndian.Uint32(data[offset:]))
	if length > int64(len(data)-offset-recordHeader) {
		return nil, 0, false
	}
	from := offset + recordHeader
	next = from + int(length)
	content = data[from:next]
	return content, next, binary.LittleEndian.Uint32(data[offset+4:]) == checksum(segment, index, content)
}

// found is a record that was not done.
type found struct {
	position Position
	content  []byte
}

// loadSegment reads a segment of an earlier process, and what of it was not done. What is torn at its end is cut off.
func loadSegment(dir string, number uint64, r *Recovery) (*segment, []found, error) {
	path := segmentPath(dir, number, logSuffix)
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(f)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	marks, err := os.ReadFile(segmentPath(dir, number, doneSuffix))
	if err != nil && !os.IsNotExist(err) {
		f.Close()
		return nil, nil, err
	}
	s := &segment{number: number, path: path, log: f, sealed: true}
	if len(data) < headerSize || string(data[:headerSize]) != string(header(number)) {
		r.Torn += int64(len(data))
		return s, nil, nil
	}
	pending, end := s.scan(data, marks, r)
	s.size = int64(end)
	if end < len(data) {
		r.Torn += int64(len(data) - end)
		if err := f.Truncate(s.size); err != nil {
			f.Close()
			return nil, nil, err
		}
	}
	return s, pending, nil
}

// scan walks over the records of a segment up to where no record is. One that is damaged is passed over if another follows where its length
// says.
func (s *segment) scan(data, marks []byte, r *Recovery) (pending []found, end int) {
	for offset := headerSize; ; {
		index := len(s.finished)
		content, next, ok := record(data, offset, s.number, index)
		if !ok {
			if _, _, goesOn := record(data, next, s.number, index+1); next == 0 || !goesOn {
				return pending, offset
			}
			r.Damaged++
		}
		isDone := !ok || index < len(marks) && marks[index] == doneMark
		s.finished = append(s.finished, isDone)
		if !isDone {
			s.open++
			pending = append(pending, found{Position{Segment: s.number, offset: int64(offset), length: len(content), index: index}, content})
		}
		offset = next
	}
}
