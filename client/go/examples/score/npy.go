package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	lossd "github.com/lossd/lossd/client/go"
	"github.com/lossd/lossd/client/go/lossdpb"
)

const magic = "\x93NUMPY"

// Types by the names that numpy gives them. An order of bytes belongs to types above one byte.
var dtypes = map[string]lossdpb.DataType{
	"<f4": lossdpb.DataType_DATA_TYPE_FLOAT32, "<f8": lossdpb.DataType_DATA_TYPE_FLOAT64,
	"<f2": lossdpb.DataType_DATA_TYPE_FLOAT16, "|i1": lossdpb.DataType_DATA_TYPE_INT8,
	"<i2": lossdpb.DataType_DATA_TYPE_INT16, "<i4": lossdpb.DataType_DATA_TYPE_INT32,
	"<i8": lossdpb.DataType_DATA_TYPE_INT64, "|u1": lossdpb.DataType_DATA_TYPE_UINT8,
	"<u2": lossdpb.DataType_DATA_TYPE_UINT16, "<u4": lossdpb.DataType_DATA_TYPE_UINT32,
	"<u8": lossdpb.DataType_DATA_TYPE_UINT64,
}

var (
	descrOf   = regexp.MustCompile(`'descr': *'([^']*)'`)
	fortranOf = regexp.MustCompile(`'fortran_order': *(True|False)`)
	shapeOf   = regexp.MustCompile(`'shape': *\(([0-9, ]*)\)`)
)

// readHeader reads the head of a .npy file, and leaves the reader at its data: the file need not fit
// into memory.
func readHeader(from io.Reader) (*lossd.Source, error) {
	reader := bufio.NewReaderSize(from, 1<<16)
	start := make([]byte, len(magic)+2)
	if _, err := io.ReadFull(reader, start); err != nil || string(start[:len(magic)]) != magic {
		return nil, fmt.Errorf("not a .npy file")
	}
	size := make([]byte, 2)
	if major := start[len(magic)]; major >= 2 {
		size = make([]byte, 4)
	}
	if _, err := io.ReadFull(reader, size); err != nil {
		return nil, fmt.Errorf("the header is cut short")
	}
	length := uint32(binary.LittleEndian.Uint16(size))
	if len(size) == 4 {
		length = binary.LittleEndian.Uint32(size)
	}
	if length > 1<<20 {
		return nil, fmt.Errorf("a header of %d bytes", length)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(reader, text); err != nil {
		return nil, fmt.Errorf("the header is cut short")
	}
	source, err := parseHeader(string(text))
	if err != nil {
		return nil, err
	}
	source.Reader = reader
	return source, nil
}

func parseHeader(text string) (*lossd.Source, error) {
	descr, fortran, shape := descrOf.FindStringSubmatch(text), fortranOf.FindStringSubmatch(text), shapeOf.FindStringSubmatch(text)
	if descr == nil || fortran == nil || shape == nil {
		return nil, fmt.Errorf("cannot read the header %q", text)
	}
	dtype, ok := dtypes[descr[1]]
	if !ok {
		return nil, fmt.Errorf("type %s is not taken", descr[1])
	}
	if fortran[1] == "True" {
		return nil, fmt.Errorf("data in Fortran order is not taken: save numpy.ascontiguousarray(x)")
	}
	source := &lossd.Source{DType: dtype}
	for size := range strings.SplitSeq(shape[1], ",") {
		if size = strings.TrimSpace(size); size == "" {
			continue
		}
		number, err := strconv.Atoi(size)
		if err != nil {
			return nil, fmt.Errorf("size %s: %w", size, err)
		}
		source.Shape = append(source.Shape, number)
	}
	return source, nil
}

// open opens a .npy file. The caller closes the file when its data has been read.
func open(path string) (*lossd.Source, *os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	source, err := readHeader(file)
	if err != nil {
		file.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return source, file, nil
}

// save writes a tensor as a .npy file.
func save(path, descr string, shape []int, data any) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if closed := file.Close(); err == nil {
			err = closed
		}
	}()
	sizes := ""
	for _, size := range shape {
		sizes += strconv.Itoa(size) + ", "
	}
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, strings.TrimSuffix(sizes, " "))
	// The data begins at a multiple of 64 bytes.
	header += strings.Repeat(" ", 63-(len(magic)+4+len(header))%64) + "\n"
	if _, err := fmt.Fprintf(file, "%s\x01\x00%c%c%s", magic, len(header)&0xff, len(header)>>8, header); err != nil {
		return err
	}
	return binary.Write(file, binary.LittleEndian, data)
}
