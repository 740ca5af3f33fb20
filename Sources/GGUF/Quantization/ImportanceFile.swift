import Tensor

/// Importance weights: for each column of a matrix the mean square of what it is multiplied with, measured on some text.
///
/// Two formats that llama.cpp writes: GGUF (`general.type` imatrix; `<tensor>.in_sum2` [columns, experts] and
/// `<tensor>.counts` [1, experts]), and the older one without a name.
///
/// Threads: immutable.
final class ImportanceFile {
  let path: String
  private let file: GGUFFile?
  private let mapping: FileMapping
  /// Of the older format: where a tensor's numbers lie, and how many they are.
  private var entries: [String: (offset: Int, count: Int)] = [:]

  /// Throws `.notFound`, `.io`, `.corruptFile`, `.unsupported`; `.mismatch` for a GGUF file of another kind.
  init(path: String) throws(IVGError) {
    self.path = path
    mapping = try FileMapping(path: path)
    guard let start = mapping.bytes(at: 0, count: 4), start.elementsEqual("GGUF".utf8) else {
      file = nil
      try readEntries()
      return
    }
    let file = try GGUFFile(path: path)
    let kind = try file.metadata.string("general.type") ?? "model"
    guard kind == "imatrix" else {
      throw IVGError(.mismatch, "\(path): general.type is \(quoted(kind)), must be 'imatrix'")
    }
    self.file = file
  }

  /// Whether there are weights for a tensor.
  func has(_ name: String) -> Bool {
    entries[name] != nil || file?.tensor(name + ".in_sum2") != nil
  }

  /// The weights of a tensor's columns, for each of its `experts`: their mean is 1.
  ///
  /// Returns nil if the file has none. Throws `.mismatch` for other extents, `.corruptFile` for what is no mean square.
  func weights(_ tensor: GGUFTensor, experts: Int) throws(IVGError) -> [Float]? {
    let count = tensor.columns * experts
    var weights: [Float]
    if let entry = entries[tensor.name] {
      try check(tensor, entry.count == count, "\(entry.count) numbers", experts)
      weights = floats(at: entry.offset, count: count)
    } else if let found = file?.tensor(tensor.name + ".in_sum2") {
      let isRight = found.type == .f32 && found.columns == tensor.columns && found.rows == experts
      try check(tensor, isRight, "\(found.type.name) \(found.shape)", experts)
      weights = floats(at: found.offset, count: count)
      try divide(&weights, tensor, experts)
    } else {
      return nil
    }
    try normalise(&weights, tensor, experts)
    return weights
  }

  /// Sums become means: every expert has seen a number of tokens of its own. One that saw none has equal weights.
  private func divide(_ weights: inout [Float], _ tensor: GGUFTensor, _ experts: Int)
    throws(IVGError)
  {
    guard let counts = file?.tensor(tensor.name + ".counts"), counts.type == .f32,
      counts.columns * counts.rows == experts
    else {
      throw IVGError(
        .corruptFile,
        "\(path): \(quoted(tensor.name + ".counts")) must be there, F32 [1, \(experts)]")
    }
    for (expert, seen) in floats(at: counts.offset, count: experts).enumerated() where !(seen > 0) {
      for column in 0..<tensor.columns { weights[expert * tensor.columns + column] = 1 }
    }
  }

  /// Brings the mean of each expert's weights to 1, and none below a millionth: a column that was always zero
  /// may yet be used.
  private func normalise(_ weights: inout [Float], _ tensor: GGUFTensor, _ experts: Int)
    throws(IVGError)
  {
    for expert in 0..<experts {
      let columns = expert * tensor.columns..<(expert + 1) * tensor.columns
      var sum = 0.0
      for index in columns {
        guard weights[index].isFinite, weights[index] >= 0 else {
          throw IVGError(
            .corruptFile,
            "\(path): weight \(index) of \(quoted(tensor.name)) is \(weights[index]); it must be finite and not negative"
          )
        }
        sum += Double(weights[index])
      }
      let mean = sum / Double(tensor.columns)
      for index in columns {
        weights[index] = mean > 0 ? max(Float(Double(weights[index]) / mean), 1e-6) : 1
      }
    }
  }

  private func check(_ tensor: GGUFTensor, _ isRight: Bool, _ found: String, _ experts: Int)
    throws(IVGError)
  {
    guard isRight else {
      throw IVGError(
        .mismatch,
        "\(path): the weights of \(quoted(tensor.name)) are \(found); the model needs F32 "
          + "[\(tensor.columns), \(experts)]")
    }
  }

  private func floats(at offset: Int, count: Int) -> [Float] {
    (0..<count).map { index in
      Float(bitPattern: mapping.load(at: offset + 4 * index, as: UInt32.self) ?? 0)
    }
  }

  /// The older format: a count, then for each tensor the length of its name, the name, a number of calls, a count
  /// and as many floats.
  private func readEntries() throws(IVGError) {
    var cursor = GGUFCursor(mapping)
    let count = try cursor.integer(Int32.self, "number of entries")
    guard count > 0, count <= GGUFLimits.tensorCount else {
      throw IVGError(
        .corruptFile, "\(path): neither GGUF nor importance weights: \(count) entries")
    }
    for number in 0..<count {
      let field = "entry \(number)"
      let length = try cursor.integer(Int32.self, "\(field): length of the name")
      let start = cursor.position
      guard length > 0, length <= GGUFLimits.nameLength else {
        throw IVGError(.corruptFile, "\(path): \(field): a name of \(length) bytes")
      }
      try cursor.skip(Int(length), "\(field): name")
      let name = String(
        decoding: mapping.bytes(at: start, count: Int(length)) ?? .init(start: nil, count: 0),
        as: UTF8.self)
      _ = try cursor.integer(Int32.self, "\(field): calls")
      let values = try cursor.integer(Int32.self, "\(field): number of weights")
      guard values > 0 else {
        throw IVGError(.corruptFile, "\(path): \(field): \(values) weights")
      }
      entries[name] = (cursor.position, Int(values))
      try cursor.skip(4 * Int(values), "\(field): weights")
    }
  }
}
