package packets

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// SCTP is sent by hand, over raw IP: kernels mostly lack its sockets, but rules see its
// packets all the same. An INIT chunk that arrives is what counts.

// sctpNetworks are Go's names for raw IP with it.
var sctpNetworks = map[bool]string{false: "ip4:132", true: "ip6:132"}

// handshakes are those that hosts wait for, by initiate tag.
type handshakes struct {
	sync.Mutex
	waiting map[uint32]chan struct{}
}

func newHandshakes() *handshakes { return &handshakes{waiting: map[uint32]chan struct{}{}} }

func (s *handshakes) expect(tag uint32) <-chan struct{} {
	s.Lock()
	defer s.Unlock()
	arrived := make(chan struct{})
	s.waiting[tag] = arrived
	return arrived
}

func (s *handshakes) arrive(tag uint32) {
	s.Lock()
	defer s.Unlock()
	if arrived, ok := s.waiting[tag]; ok {
		close(arrived)
		delete(s.waiting, tag)
	}
}

func (h *Host) listenSCTP() error {
	families := map[bool]bool{}
	for _, address := range h.Addresses {
		families[address.Is6()] = true
	}
	for is6 := range families {
		packets, err := net.ListenPacket(sctpNetworks[is6], "")
		if err != nil {
			return err
		}
		h.servers = append(h.servers, packets)
		go h.receiveInits(packets)
	}
	return nil
}

// The layout of a packet with an INIT chunk (RFC 9260, 3.1 and 3.3.2).
const (
	initLength     = 12 + 20
	checksumOffset = 8
	chunkOffset    = 12
	tagOffset      = chunkOffset + 4
)

func (h *Host) receiveInits(packets net.PacketConn) {
	buffer := make([]byte, 1500)
	for {
		length, _, err := packets.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && length >= initLength {
			h.inits.arrive(binary.BigEndian.Uint32(buffer[tagOffset:]))
		}
	}
}

// initPacket asks for an association.
func initPacket(from, to uint16, tag uint32) []byte {
	packet := make([]byte, initLength)
	binary.BigEndian.PutUint16(packet[0:], from)
	binary.BigEndian.PutUint16(packet[2:], to)
	packet[chunkOffset] = 1 // INIT
	binary.BigEndian.PutUint16(packet[chunkOffset+2:], 20)
	binary.BigEndian.PutUint32(packet[tagOffset:], tag)
	binary.BigEndian.PutUint32(packet[chunkOffset+8:], 1<<16)
	binary.BigEndian.PutUint16(packet[chunkOffset+12:], 1)
	binary.BigEndian.PutUint16(packet[chunkOffset+14:], 1)
	binary.BigEndian.PutUint32(packet[chunkOffset+16:], tag)
	binary.LittleEndian.PutUint32(packet[checksumOffset:], crc32.Checksum(packet, crc32.MakeTable(crc32.Castagnoli)))
	return packet
}

func (h *Host) reachesSCTP(ctx context.Context, target Target) (bool, error) {
	connection, err := h.dialRaw(target)
	if err != nil {
		return false, err
	}
	defer connection.Close()
	tag, source := rand.Uint32()|1, h.nextPort() // a tag is never zero
	arrived := target.Host.inits.expect(tag)
	resend := time.NewTicker(resendAfter)
	defer resend.Stop()
	for {
		if _, err := connection.Write(initPacket(source, uint16(target.Port), tag)); err != nil {
			return answered(err)
		}
		select {
		case <-arrived:
			return true, nil
		case <-resend.C:
		case <-ctx.Done():
			return false, nil
		}
	}
}

func (h *Host) dialRaw(target Target) (net.Conn, error) {
	var connection net.Conn
	err := h.Do(func() error {
		var err error
		connection, err = net.Dial(sctpNetworks[target.Address.Is6()], target.Address.String())
		return err
	})
	return connection, err
}
