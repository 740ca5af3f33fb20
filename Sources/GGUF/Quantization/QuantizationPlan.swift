import Tensor

/// Which tensor of a model becomes which type.
struct QuantizationPlan {
  /// For each tensor of the file, in its order.
  let types: [TensorType]

  /// What a rule may ask about the model.
  private struct Facts {
    let layerCount: Int
    let sharesHeads: Bool
    let hasImportance: Bool
    let expertCount: Int
    /// A large model of few key and value heads, whose matrices for them are small: they get more bits.
    let hasSmallValues: Bool
    let hasOutput: Bool
  }

  /// Throws `.corruptFile` for metadata that contradict themselves.
  init(_ file: GGUFFile, _ options: QuantizationChoice, hasImportance: Bool) throws(IVGError) {
    let roles = file.tensors.map { TensorRole($0) }
    let facts = try Self.facts(
      file, hasImportance: hasImportance, hasOutput: roles.contains { $0 == .output })
    // Not every layer has values of its own: they are counted, in order of layers.
    let values = file.tensors.indices.filter { roles[$0] == .attentionValue }.sorted {
      (Self.layer(file.tensors[$0].name) ?? 0, file.tensors[$0].name)
        < (Self.layer(file.tensors[$1].name) ?? 0, file.tensors[$1].name)
    }
    var place: [Int: Int] = [:]
    for (number, index) in values.enumerated() { place[index] = number }
    types = file.tensors.indices.map { index in
      let tensor = file.tensors[index]
      let role = roles[index]
      guard role != .kept else { return tensor.type }
      let layer =
        place[index].map { ($0, values.count) } ?? (Self.layer(tensor.name) ?? 0, facts.layerCount)
      return Self.type(role, layer, options, facts).fitting(columns: tensor.columns)
    }
  }

  private static func type(
    _ role: TensorRole, _ layer: (number: Int, count: Int), _ options: QuantizationChoice,
    _ facts: Facts
  ) -> TensorType {
    let mix = options.mix
    if role == .embedding, let type = options.embeddingType { return type }
    let isOutput = role == .output || role == .embedding && !facts.hasOutput
    if isOutput, let type = options.outputType { return type }
    if options.isPure || !mix.type.isQuantized { return mix.type }
    if isOutput { return mix.outputType }
    if let type = expertType(role, mix, facts) { return type }
    let rule = mix.rules.first { rule in
      guard rule.role == role, rule.layers.contains(layer.number, of: layer.count) else {
        return false
      }
      switch rule.condition {
      case .always: return true
      case .sharesHeads: return facts.sharesHeads
      case .hasImportance: return facts.hasImportance
      }
    }
    let type = rule?.type ?? mix.type
    if role == .attentionValue, facts.hasSmallValues, type == .q3_K || type == .q4_K {
      return .q5_K
    }
    return type
  }

  /// In a model of eight experts attention is a small part, and gets more bits.
  private static func expertType(_ role: TensorRole, _ mix: QuantizationMix, _ facts: Facts)
    -> TensorType?
  {
    guard facts.expertCount == 8 else { return nil }
    switch role {
    case .attentionValue, .attentionKey: return .q8_0
    case .attentionOutput:
      return ["Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M"].contains(mix.name) ? .q5_K : mix.type
    default: return nil
    }
  }

  private static func facts(_ file: GGUFFile, hasImportance: Bool, hasOutput: Bool)
    throws(IVGError) -> Facts
  {
    let metadata = file.metadata
    let architecture = try metadata.string("general.architecture") ?? ""
    func number(_ name: String) throws(IVGError) -> Int {
      let key = "\(architecture).\(name)"
      if case .array(let array) = metadata[key] {  // one for each layer
        return Int(clamping: (0..<array.count).reduce(Int64(0)) { max($0, array.int(at: $1) ?? 0) })
      }
      return try metadata.int(key, in: 0...1 << 32) ?? 0
    }
    let layerCount = try number("block_count")
    let heads = try number("attention.head_count")
    let shared = try number("attention.head_count_kv")
    let keyHeads = shared == 0 ? heads : shared
    return Facts(
      layerCount: layerCount, sharesHeads: keyHeads > 0 && heads / keyHeads >= 4,
      hasImportance: hasImportance, expertCount: try number("expert_count"),
      hasSmallValues: ["llama", "qwen2"].contains(architecture) && layerCount == 80
        && heads != keyHeads,
      hasOutput: hasOutput)
  }

  /// The number in `blk.<number>.…`.
  static func layer(_ name: String) -> Int? {
    guard name.hasPrefix("blk.") else { return nil }
    return Int(name.dropFirst(4).prefix { $0 != "." })
  }
}
