/// A metadata array, read in place: elements are decoded when asked for.
///
/// Every getter is O(1) and answers nil for an index outside `0 ..< count` or an element of another
/// kind; none of them throws. Arrays of arrays are accepted in files, but their elements cannot be
/// read.
///
/// Ownership: keeps the file mapped. Threads: immutable, may be read from any number of threads.
package struct GGUFArray: Sendable {
  /// How each element is stored.
  package let elementType: GGUFValueType
  /// Number of elements.
  package let count: Int

  private let mapping: FileMapping
  /// Position in the file of the first element.
  private let start: Int
  /// For strings: where each one begins (its length field), relative to `start`. Empty otherwise.
  private let stringOffsets: [UInt32]

  /// An array whose extent has been checked by the parser.
  init(
    elementType: GGUFValueType, count: Int, mapping: FileMapping, start: Int,
    stringOffsets: [UInt32]
  ) {
    self.elementType = elementType
    self.count = count
    self.mapping = mapping
    self.start = start
    self.stringOffsets = stringOffsets
  }

  /// The integer at `index`; nil also if it does not fit in an `Int64`.
  package func int(at index: Int) -> Int64? {
    switch elementType {
    case .uint8: load(index, UInt8.self).map(Int64.init)
    case .int8: load(index, Int8.self).map(Int64.init)
    case .uint16: load(index, UInt16.self).map(Int64.init)
    case .int16: load(index, Int16.self).map(Int64.init)
    case .uint32: load(index, UInt32.self).map(Int64.init)
    case .int32: load(index, Int32.self).map(Int64.init)
    case .uint64: load(index, UInt64.self).flatMap(Int64.init(exactly:))
    case .int64: load(index, Int64.self)
    case .float32, .float64, .bool, .string, .array: nil
    }
  }

  /// The unsigned 64-bit integer at `index`, for arrays of that type only: it may exceed an
  /// `Int64`.
  func uint(at index: Int) -> UInt64? {
    elementType == .uint64 ? load(index, UInt64.self) : nil
  }

  /// The floating-point number at `index`, which may be infinite or NaN.
  package func float(at index: Int) -> Double? {
    switch elementType {
    case .float32: load(index, UInt32.self).map { Double(Float(bitPattern: $0)) }
    case .float64: load(index, UInt64.self).map(Double.init(bitPattern:))
    default: nil
    }
  }

  /// The truth value at `index`; every byte but 0 is true.
  package func bool(at index: Int) -> Bool? {
    elementType == .bool ? load(index, UInt8.self).map { $0 != 0 } : nil
  }

  /// The bytes of the string at `index`, borrowed from the mapping: valid while this array or its
  /// file is alive.
  package func string(at index: Int) -> UnsafeRawBufferPointer? {
    guard elementType == .string, index >= 0, index < stringOffsets.count else { return nil }
    // The parser checked this string; loads are checked again because the file may have changed.
    let position = start + Int(stringOffsets[index])
    guard let stored = mapping.load(at: position, as: UInt64.self),
      let length = Int(exactly: stored)
    else { return nil }
    return mapping.bytes(at: position + 8, count: length)
  }

  /// The integer-sized element at `index`. The parser has checked that `count` elements from
  /// `start` are in the file, so the product cannot overflow.
  @inline(__always)
  private func load<T: FixedWidthInteger & BitwiseCopyable>(_ index: Int, _ type: T.Type) -> T? {
    guard index >= 0, index < count else { return nil }
    return mapping.load(at: start + index * MemoryLayout<T>.size, as: type)
  }
}
