import Tensor

/// Tensor descriptions.
extension GGUFParser {
  /// A description as stored, before its offset is known to be in the file.
  private struct Entry {
    let name: String
    let type: TensorType
    let shape: [Int]
    let offset: UInt64
    let byteCount: Int
  }

  /// Reads all descriptions and places each tensor in the file. The index maps names to positions
  /// in the list.
  mutating func tensors(
    count: Int, alignment: Int
  ) throws(IVGError) -> (list: [GGUFTensor], index: [String: Int]) {
    var entries: [Entry] = []
    var index: [String: Int] = [:]
    for number in 0..<count {
      let entry = try entry(number)
      guard index.updateValue(number, forKey: entry.name) == nil else {
        throw cursor.failure(.corruptFile, "tensor \(quoted(entry.name)) occurs twice")
      }
      entries.append(entry)
    }
    // Data begins at the next multiple of the alignment; positions are far below Int.max.
    let start = (cursor.position + alignment - 1) & ~(alignment - 1)
    var list: [GGUFTensor] = []
    list.reserveCapacity(count)
    for entry in entries {
      list.append(try place(entry, start: start, alignment: alignment))
    }
    return (list, index)
  }

  /// Reads one description.
  private mutating func entry(_ number: Int) throws(IVGError) -> Entry {
    let bytes = try cursor.string(limit: GGUFLimits.nameLength, "name of tensor \(number)")
    let name = String(decoding: bytes, as: UTF8.self)
    let field = "tensor \(quoted(name))"
    let dimensions = try cursor.integer(UInt32.self, "\(field): number of dimensions")
    guard (1...UInt32(GGUFLimits.dimensions)).contains(dimensions) else {
      throw cursor.failure(
        .corruptFile,
        "\(field) has \(dimensions) dimensions; it must be 1 to \(GGUFLimits.dimensions)")
    }
    var shape: [Int] = []
    var elements = 1
    for axis in 0..<dimensions {
      let extent = try cursor.integer(UInt64.self, "\(field): dimension \(axis)")
      guard extent > 0 else {
        throw cursor.failure(.corruptFile, "\(field): dimension \(axis) is 0; the least is 1")
      }
      guard let extent = Int(exactly: extent) else {
        throw cursor.failure(
          .corruptFile, "\(field): dimension \(axis) is \(extent); the limit is \(Int.max)")
      }
      let (product, overflow) = elements.multipliedReportingOverflow(by: extent)
      guard !overflow else {
        throw cursor.failure(
          .corruptFile, "\(field): its dimensions, to \(axis), multiply to more than \(Int.max)")
      }
      elements = product
      shape.append(extent)
    }
    let type = try tensorType(field)
    let offset = try cursor.integer(UInt64.self, "\(field): offset")
    let size = try byteCount(field, type, columns: shape[0], elements: elements)
    return Entry(name: name, type: type, shape: shape, offset: offset, byteCount: size)
  }

  /// Reads a tensor type.
  private mutating func tensorType(_ field: String) throws(IVGError) -> TensorType {
    let raw = try cursor.integer(UInt32.self, "\(field): type")
    if let type = TensorType(rawValue: raw) { return type }
    let name = Self.unsupportedTypes[raw].map { " (\($0))" } ?? ""
    let known = TensorType.allCases.map(\.name).joined(separator: ", ")
    throw cursor.failure(
      .unsupported, "\(field) has type id \(raw)\(name); this library reads \(known)")
  }

  /// Types that other programs write, named so that the message helps.
  private static let unsupportedTypes: [UInt32: String] = [
    9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL",
    21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
  ]

  /// Encoded size of a tensor: whole blocks in each row.
  private func byteCount(
    _ field: String, _ type: TensorType, columns: Int, elements: Int
  ) throws(IVGError) -> Int {
    guard columns % type.blockElements == 0 else {
      throw cursor.failure(
        .corruptFile,
        "\(field): rows of \(columns) elements are no multiple of the "
          + "\(type.blockElements) elements of a \(type.name) block")
    }
    let (size, overflow) = (elements / type.blockElements)
      .multipliedReportingOverflow(by: type.blockBytes)
    guard !overflow else {
      throw cursor.failure(
        .corruptFile,
        "\(field): \(elements) elements of \(type.name) take more than \(Int.max) bytes")
    }
    return size
  }

  /// Checks that a tensor's data is aligned and lies in the file.
  private func place(_ entry: Entry, start: Int, alignment: Int) throws(IVGError) -> GGUFTensor {
    let field = "tensor \(quoted(entry.name))"
    guard entry.offset % UInt64(alignment) == 0 else {
      throw cursor.failure(
        .corruptFile,
        "\(field): offset \(entry.offset) is no multiple of the alignment \(alignment)")
    }
    // `room` is what lies between the start of the data and the end of the file.
    let room = max(0, cursor.mapping.count - start)
    guard entry.byteCount <= room, entry.offset <= UInt64(room - entry.byteCount) else {
      throw cursor.failure(
        .corruptFile,
        "\(field): \(entry.byteCount) bytes at offset \(entry.offset) of the tensor data end "
          + "behind the \(room) bytes that the file has of it")
    }
    return GGUFTensor(
      name: entry.name, type: entry.type, shape: entry.shape, offset: start + Int(entry.offset),
      byteCount: entry.byteCount)
  }
}
