package lossd

import (
	"encoding/binary"
	"slices"
	"unsafe"
)

// The wire is little-endian. On other machines bytes are turned round on their way.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// bytesOf gives the memory of values as bytes.
func bytesOf[T Element](values []T) []byte {
	if len(values) == 0 {
		return nil
	}
	var zero T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), len(values)*int(unsafe.Sizeof(zero)))
}

// valuesOf gives elements in the wire's order. They share memory with data where that can be.
func valuesOf[T Element](data []byte) []T {
	var zero T
	size := int(unsafe.Sizeof(zero))
	count := len(data) / size
	if count == 0 {
		return []T{}
	}
	address := unsafe.SliceData(data)
	if uintptr(unsafe.Pointer(address))%unsafe.Alignof(zero) != 0 {
		values := make([]T, count)
		copy(bytesOf(values), data)
		reverseElements(bytesOf(values), size, littleEndian)
		return values
	}
	values := unsafe.Slice((*T)(unsafe.Pointer(address)), count)
	reverseElements(bytesOf(values), size, littleEndian)
	return values
}

// wireBytes gives the elements of `size` bytes each in the wire's order: data itself on
// little-endian machines.
func wireBytes(data []byte, size int, little bool) []byte {
	if little || size == 1 {
		return data
	}
	turned := slices.Clone(data)
	reverseElements(turned, size, little)
	return turned
}

// reverseElements turns the bytes of each element round, unless this machine is little-endian.
func reverseElements(data []byte, size int, little bool) {
	if little {
		return
	}
	for begin := 0; begin+size <= len(data); begin += size {
		slices.Reverse(data[begin : begin+size])
	}
}
