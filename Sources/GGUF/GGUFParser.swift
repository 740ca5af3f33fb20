import Tensor

/// Reads the front of a file: header, metadata, tensor descriptions. Never touches tensor data.
///
/// Time and memory are proportional to the metadata: a string array is indexed in one pass, an
/// array of numbers is stepped over.
struct GGUFParser {
  var cursor: GGUFCursor
  /// Strings and inner arrays seen so far; see `GGUFLimits.visitedElements`.
  private var visited = 0

  /// Everything that the front of a file says.
  struct Result {
    let version: UInt32
    let alignment: Int
    let metadata: GGUFMetadata
    let tensors: [GGUFTensor]
    let tensorIndex: [String: Int]
  }

  init(_ mapping: FileMapping) {
    cursor = GGUFCursor(mapping)
  }

  /// Parses the file. Throws `.corruptFile` or `.unsupported`, naming the file, the field, its
  /// value and the bound.
  mutating func parse() throws(IVGError) -> Result {
    let version = try header()
    // A tensor description is at least a name length, a number of dimensions, one dimension, a type
    // and an offset; a metadata entry at least a key length, a type and one byte.
    let tensorCount = try cursor.count(
      limit: GGUFLimits.tensorCount, minimumSize: 8 + 4 + 8 + 4 + 8, "tensor count")
    let metadataCount = try cursor.count(
      limit: GGUFLimits.metadataCount, minimumSize: 8 + 4 + 1, "metadata count")
    let metadata = try metadata(count: metadataCount)
    let alignment = try alignment(metadata)
    let (tensors, index) = try tensors(count: tensorCount, alignment: alignment)
    return Result(
      version: version, alignment: alignment, metadata: metadata, tensors: tensors,
      tensorIndex: index)
  }

  /// Checks magic and byte order and returns the version, 2 or 3.
  private mutating func header() throws(IVGError) -> UInt32 {
    let magic = try cursor.integer(UInt32.self, "magic number")
    guard magic != 0x4755_4746, magic != 0x4747_5546 else {  // "FUGG", or swapped as stored
      throw bigEndian()
    }
    guard magic == 0x4655_4747 else {
      throw cursor.failure(
        .corruptFile,
        "not a GGUF file: it begins with \(hex(magic)) instead of \(hex(0x4655_4747))")
    }
    let version = try cursor.integer(UInt32.self, "version")
    guard version & 0xFFFF != 0 || version == 0 else { throw bigEndian() }
    guard version == 2 || version == 3 else {
      throw cursor.failure(.unsupported, "GGUF version \(version); this library reads 2 and 3")
    }
    return version
  }

  private func bigEndian() -> IVGError {
    cursor.failure(
      .unsupported, "a big-endian GGUF file; only little-endian files can be read, so convert it")
  }

  /// The four bytes of a magic number in file order.
  private func hex(_ magic: UInt32) -> String {
    (0..<4).map { shift in
      let byte = UInt8(truncatingIfNeeded: magic >> (8 * UInt32(shift)))
      return (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }.joined(separator: " ")
  }

  /// Reads all metadata entries.
  private mutating func metadata(count: Int) throws(IVGError) -> GGUFMetadata {
    var metadata = GGUFMetadata(mapping: cursor.mapping)
    for index in 0..<count {
      let name = try cursor.string(limit: GGUFLimits.nameLength, "metadata key \(index)")
      let key = String(decoding: name, as: UTF8.self)
      let type = try valueType("metadata \(quoted(key)): type")
      let start = cursor.position
      let value = try value(type, key)
      guard metadata.append(key, type, value, extent: start..<cursor.position) else {
        throw cursor.failure(.corruptFile, "metadata \(quoted(key)) occurs twice")
      }
    }
    return metadata
  }

  /// Reads a value type. `field` says whose, for messages.
  private mutating func valueType(_ field: @autoclosure () -> String) throws(IVGError)
    -> GGUFValueType
  {
    let raw = try cursor.integer(UInt32.self, field())
    guard let type = GGUFValueType(rawValue: raw) else {
      throw cursor.failure(.corruptFile, "\(field()) is \(raw); the highest is 12")
    }
    return type
  }

  /// Reads the value of `key`.
  private mutating func value(_ type: GGUFValueType, _ key: String) throws(IVGError) -> GGUFValue {
    let field = "metadata \(quoted(key))"
    switch type {
    case .uint8: return .uint(UInt64(try cursor.integer(UInt8.self, field)))
    case .int8: return .int(Int64(try cursor.integer(Int8.self, field)))
    case .uint16: return .uint(UInt64(try cursor.integer(UInt16.self, field)))
    case .int16: return .int(Int64(try cursor.integer(Int16.self, field)))
    case .uint32: return .uint(UInt64(try cursor.integer(UInt32.self, field)))
    case .int32: return .int(Int64(try cursor.integer(Int32.self, field)))
    case .uint64: return .uint(try cursor.integer(UInt64.self, field))
    case .int64: return .int(try cursor.integer(Int64.self, field))
    case .float32:
      return .float(Double(Float(bitPattern: try cursor.integer(UInt32.self, field))))
    case .float64: return .float(Double(bitPattern: try cursor.integer(UInt64.self, field)))
    case .bool:
      let byte = try cursor.integer(UInt8.self, field)
      guard byte <= 1 else {
        throw cursor.failure(.corruptFile, "\(field) is a bool with the value \(byte); 0 or 1")
      }
      return .bool(byte == 1)
    case .string: return .string(try cursor.string(limit: GGUFLimits.stringLength, field))
    case .array: return .array(try array(field, depth: 1))
    }
  }

  /// Reads an array: steps over numbers, indexes strings, walks through inner arrays.
  private mutating func array(_ field: String, depth: Int) throws(IVGError) -> GGUFArray {
    guard depth <= GGUFLimits.arrayDepth else {
      throw cursor.failure(
        .corruptFile, "\(field): arrays nested deeper than \(GGUFLimits.arrayDepth)")
    }
    let type = try valueType("\(field): element type")
    let count = try cursor.count(
      limit: Int.max, minimumSize: type.minimumSize, "\(field): element count")
    let start = cursor.position
    var offsets: [UInt32] = []
    if let size = type.size {
      try cursor.skip(count * size, field)  // at most the rest of the file, as `count` was checked
    } else {
      visited += count  // each at most the file's size, so far from overflow
      guard visited <= GGUFLimits.visitedElements else {
        throw cursor.failure(
          .corruptFile,
          "\(field): \(count) strings or arrays make the metadata hold \(visited); "
            + "the limit is \(GGUFLimits.visitedElements)")
      }
      if type == .string {
        offsets = try index(count, field)
      } else {
        for _ in 0..<count { _ = try array(field, depth: depth + 1) }
      }
    }
    return GGUFArray(
      elementType: type, count: count, mapping: cursor.mapping, start: start,
      stringOffsets: offsets)
  }

  /// Walks over `count` strings and returns where each begins, relative to the first.
  private mutating func index(_ count: Int, _ field: String) throws(IVGError) -> [UInt32] {
    let start = cursor.position
    var offsets: [UInt32] = []
    offsets.reserveCapacity(count)  // at most `visitedElements`
    for element in 0..<count {
      guard let offset = UInt32(exactly: cursor.position - start) else {
        throw cursor.failure(.unsupported, "\(field): an array of strings of more than 4 GiB")
      }
      offsets.append(offset)
      _ = try cursor.string(limit: GGUFLimits.stringLength, "\(field)[\(element)]")
    }
    return offsets
  }

  /// The alignment of tensor data: `general.alignment`, or 32.
  private func alignment(_ metadata: GGUFMetadata) throws(IVGError) -> Int {
    let key = "general.alignment"
    guard let value = try metadata.int(key, in: GGUFLimits.alignment) else { return 32 }
    guard value & (value - 1) == 0 else {
      throw cursor.failure(.corruptFile, "metadata '\(key)' is \(value); it must be a power of two")
    }
    return value
  }
}
