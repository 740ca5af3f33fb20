/// A metadata value to be written: its type and its bytes as they stand in the file.
package struct GGUFWriterValue: Sendable {
  let type: GGUFValueType
  private(set) var bytes: [UInt8] = []

  private init(_ type: GGUFValueType) { self.type = type }

  /// A value whose bytes are known, copied from a file.
  init(_ type: GGUFValueType, encoded: UnsafeRawBufferPointer) {
    self.type = type
    bytes = Array(encoded)
  }

  /// An unsigned integer of 32 bits: counts, sizes, token ids.
  package static func uint32(_ value: UInt32) -> Self { number(.uint32, value) }
  /// A signed integer of 32 bits.
  package static func int32(_ value: Int32) -> Self { number(.int32, value) }
  /// An unsigned integer of 64 bits.
  package static func uint64(_ value: UInt64) -> Self { number(.uint64, value) }
  /// A signed integer of 64 bits.
  package static func int64(_ value: Int64) -> Self { number(.int64, value) }
  /// A number in single precision, which is what llama.cpp expects of every float.
  package static func float32(_ value: Float) -> Self { number(.float32, value.bitPattern) }
  /// A number in double precision.
  package static func float64(_ value: Double) -> Self { number(.float64, value.bitPattern) }
  /// A truth value.
  package static func bool(_ value: Bool) -> Self { number(.bool, value ? 1 as UInt8 : 0) }
  /// Text, in UTF-8.
  package static func string(_ value: String) -> Self { string(Array(value.utf8)) }
  /// Text as bytes, which need not be UTF-8.
  package static func string(_ value: [UInt8]) -> Self {
    var result = Self(.string)
    result.append(string: value)
    return result
  }

  /// An array of unsigned integers of 32 bits.
  package static func array(_ values: [UInt32]) -> Self {
    var result = array(of: .uint32, count: values.count)
    for value in values { result.append(value) }
    return result
  }
  /// An array of signed integers of 32 bits.
  package static func array(_ values: [Int32]) -> Self {
    var result = array(of: .int32, count: values.count)
    for value in values { result.append(value) }
    return result
  }
  /// An array of truth values.
  package static func array(_ values: [Bool]) -> Self {
    var result = array(of: .bool, count: values.count)
    for value in values { result.append(value ? 1 as UInt8 : 0) }
    return result
  }
  /// An array of numbers in single precision.
  package static func array(_ values: [Float]) -> Self {
    var result = array(of: .float32, count: values.count)
    for value in values { result.append(value.bitPattern) }
    return result
  }
  /// An array of texts, as bytes.
  package static func array(_ values: [[UInt8]]) -> Self {
    var result = array(of: .string, count: values.count)
    for value in values { result.append(string: value) }
    return result
  }

  private static func number<T: FixedWidthInteger>(_ type: GGUFValueType, _ value: T) -> Self {
    var result = Self(type)
    result.append(value)
    return result
  }

  private static func array(of type: GGUFValueType, count: Int) -> Self {
    var result = Self(.array)
    result.append(type.rawValue)
    result.append(UInt64(count))
    return result
  }

  private mutating func append<T: FixedWidthInteger>(_ value: T) {
    bytes.append(littleEndian: value)
  }

  private mutating func append(string: [UInt8]) {
    bytes.append(littleEndian: UInt64(string.count))
    bytes += string
  }
}

extension [UInt8] {
  /// Appends an integer, lowest byte first.
  mutating func append<T: FixedWidthInteger>(littleEndian value: T) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }
}
