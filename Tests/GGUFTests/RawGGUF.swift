/// Builds the bytes of a GGUF file without checking anything, so that tests can build wrong ones.
struct RawGGUF {
  var bytes: [UInt8] = []

  /// Begins a file with any header.
  init(tensors: UInt64, metadata: UInt64, version: UInt32 = 3, magic: String = "GGUF") {
    bytes = Array(magic.utf8)
    number(version)
    number(tensors)
    number(metadata)
  }

  /// Appends a little-endian number.
  mutating func number<T: FixedWidthInteger>(_ value: T) {
    Swift.withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  /// Appends a string that may lie about its length.
  mutating func string(_ text: String, length: UInt64? = nil) {
    number(length ?? UInt64(text.utf8.count))
    bytes += Array(text.utf8)
  }

  /// Appends a metadata key and the type of its value; the value follows.
  mutating func key(_ name: String, _ type: UInt32) {
    string(name)
    number(type)
  }

  /// Appends a tensor description.
  mutating func tensor(
    _ name: String, _ dimensions: [UInt64], type: UInt32 = 0, offset: UInt64 = 0
  ) {
    string(name)
    number(UInt32(dimensions.count))
    for dimension in dimensions { number(dimension) }
    number(type)
    number(offset)
  }

  /// Appends padding to the alignment and then `count` bytes of tensor data.
  mutating func data(_ count: Int, alignment: Int = 32) {
    while bytes.count % alignment != 0 { bytes.append(0) }
    bytes += (0..<count).map { UInt8(truncatingIfNeeded: $0) }
  }

  /// A small valid file with a value of every type and three tensors.
  static var sample: RawGGUF {
    var file = RawGGUF(tensors: 3, metadata: 18)
    file.key("general.architecture", 8)
    file.string("llama")
    file.key("u8", 0)
    file.number(200 as UInt8)
    file.key("i8", 1)
    file.number(-5 as Int8)
    file.key("u16", 2)
    file.number(60_000 as UInt16)
    file.key("i16", 3)
    file.number(-30_000 as Int16)
    file.key("u32", 4)
    file.number(4_000_000_000 as UInt32)
    file.key("i32", 5)
    file.number(-7 as Int32)
    file.key("f32", 6)
    file.number((0.1 as Float).bitPattern)
    file.key("yes", 7)
    file.number(1 as UInt8)
    file.key("u64", 10)
    file.number(UInt64.max)
    file.key("i64", 11)
    file.number(Int64.min)
    file.key("f64", 12)
    file.number((0.1 as Double).bitPattern)
    file.key("nan", 6)
    file.number(Float.nan.bitPattern)
    file.key("strings", 9)
    file.number(8 as UInt32)
    file.number(3 as UInt64)
    file.string("a\"b\\\n\u{1}")
    file.string("")
    file.string("日本")
    file.key("numbers", 9)
    file.number(5 as UInt32)
    file.number(4 as UInt64)
    for value in [1, -2, 3, -4] as [Int32] { file.number(value) }
    file.key("floats", 9)
    file.number(6 as UInt32)
    file.number(2 as UInt64)
    for value in [1.5, -.infinity] as [Float] { file.number(value.bitPattern) }
    file.key("bools", 9)
    file.number(7 as UInt32)
    file.number(2 as UInt64)
    file.bytes += [0, 1]
    file.key("nested", 9)  // [[[uint8]]]
    file.number(9 as UInt32)
    file.number(2 as UInt64)
    for _ in 0..<2 {
      file.number(0 as UInt32)
      file.number(3 as UInt64)
      file.bytes += [1, 2, 3]
    }
    file.tensor("norm", [5], offset: 0)
    file.tensor("half", [4, 3], type: 1, offset: 32)
    file.tensor("quantised", [64, 2, 3], type: 8, offset: 64)
    file.data(64 + 6 * 2 * 34)
    return file
  }
}
