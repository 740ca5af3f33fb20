import Tensor

/// A named way to quantise a model: a type for its matrices, and other types for those that need them.
///
/// The table is that of llama.cpp's `llama-quantize`, so a name means the same file in both. Not in it are what
/// it does for single architectures (Falcon), and its types that this library does not have.
struct QuantizationMix {
  /// The name, as in the names of files.
  let name: String
  /// The value of `general.file_type`.
  let fileType: UInt32
  /// The type of every matrix that no rule is for.
  let type: TensorType
  var rules: [Rule] = []

  /// Which tensors get another type. The first rule that fits counts.
  struct Rule {
    let role: TensorRole
    let layers: Layers
    let type: TensorType
    var condition: Condition = .always
  }

  /// Layers, by their number and how many there are.
  enum Layers {
    case all
    case first(Int)
    /// The first of so many equal parts.
    case firstPart(of: Int)
    /// The first and the last eighth, and every third between.
    case spread

    func contains(_ layer: Int, of count: Int) -> Bool {
      switch self {
      case .all: true
      case .first(let number): layer < number
      case .firstPart(let parts): layer < count / parts
      case .spread:
        layer < count / 8 || layer >= 7 * count / 8 || (layer - count / 8) % 3 == 2
      }
    }
  }

  /// When a rule holds at all.
  enum Condition {
    case always
    /// Four or more query heads share one head of keys and values.
    case sharesHeads
    /// There are importance weights.
    case hasImportance
  }

  /// The mix of that name, in any case; nil if there is none.
  static func named(_ name: String) -> QuantizationMix? {
    let wanted = name.uppercased()
    return all.first { $0.name == (aliases[wanted] ?? wanted) }
  }

  private static let aliases = [
    "Q2_K_M": "Q2_K", "Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M",
  ]

  static let all: [QuantizationMix] = [
    QuantizationMix(name: "F32", fileType: 0, type: .f32),
    QuantizationMix(name: "F16", fileType: 1, type: .f16),
    QuantizationMix(name: "BF16", fileType: 32, type: .bf16),
    QuantizationMix(name: "Q8_0", fileType: 7, type: .q8_0),
    QuantizationMix(
      name: "Q4_0", fileType: 2, type: .q4_0,
      rules: [
        Rule(
          role: .feedForwardDown, layers: .firstPart(of: 8), type: .q4_1, condition: .hasImportance)
      ]),
    QuantizationMix(name: "Q4_1", fileType: 3, type: .q4_1),
    QuantizationMix(
      name: "Q5_0", fileType: 8, type: .q5_0,
      rules: [
        Rule(
          role: .feedForwardDown, layers: .firstPart(of: 8), type: .q5_1, condition: .hasImportance)
      ]),
    QuantizationMix(name: "Q5_1", fileType: 9, type: .q5_1),
    QuantizationMix(
      name: "Q2_K", fileType: 10, type: .q2_K,
      rules: [
        Rule(role: .attentionValue, layers: .all, type: .q4_K, condition: .sharesHeads),
        Rule(role: .attentionValue, layers: .all, type: .q3_K),
        Rule(role: .feedForwardDown, layers: .all, type: .q3_K),
        Rule(role: .attentionOutput, layers: .all, type: .q3_K),
      ]),
    QuantizationMix(name: "Q3_K_S", fileType: 11, type: .q3_K),
    QuantizationMix(
      name: "Q3_K_M", fileType: 12, type: .q3_K,
      rules: [
        Rule(role: .attentionValue, layers: .first(2), type: .q5_K),
        Rule(role: .attentionValue, layers: .all, type: .q4_K),
        Rule(role: .feedForwardDown, layers: .firstPart(of: 16), type: .q5_K),
        Rule(role: .feedForwardDown, layers: .all, type: .q4_K),
        Rule(role: .attentionOutput, layers: .all, type: .q4_K),
      ]),
    QuantizationMix(
      name: "Q3_K_L", fileType: 13, type: .q3_K,
      rules: [
        Rule(role: .attentionValue, layers: .all, type: .q5_K),
        Rule(role: .feedForwardDown, layers: .all, type: .q5_K),
        Rule(role: .attentionOutput, layers: .all, type: .q5_K),
      ]),
    QuantizationMix(
      name: "Q4_K_S", fileType: 14, type: .q4_K,
      rules: [
        Rule(role: .attentionValue, layers: .first(4), type: .q5_K),
        Rule(role: .feedForwardDown, layers: .firstPart(of: 8), type: .q5_K),
      ]),
    QuantizationMix(
      name: "Q4_K_M", fileType: 15, type: .q4_K,
      rules: [
        Rule(role: .attentionValue, layers: .spread, type: .q6_K),
        Rule(role: .feedForwardDown, layers: .spread, type: .q6_K),
      ]),
    QuantizationMix(name: "Q5_K_S", fileType: 16, type: .q5_K),
    QuantizationMix(
      name: "Q5_K_M", fileType: 17, type: .q5_K,
      rules: [
        Rule(role: .attentionValue, layers: .spread, type: .q6_K),
        Rule(role: .feedForwardDown, layers: .spread, type: .q6_K),
      ]),
    QuantizationMix(name: "Q6_K", fileType: 18, type: .q6_K),
  ]

  /// The embedding that is the output too, and the output: their errors reach every logit.
  var outputType: TensorType {
    switch type {
    case .f32, .f16, .bf16, .q8_0: type
    default: .q6_K
    }
  }
}

extension TensorType {
  /// The type of that name, in any case; nil if there is none.
  static func named(_ name: String) -> TensorType? {
    let wanted = name.uppercased()
    return allCases.first { $0.name.uppercased() == wanted }
  }

  /// What rows get that are no multiple of this type's block.
  func fitting(columns: Int) -> TensorType {
    if columns % blockElements == 0 { return self }
    let smaller: TensorType =
      switch self {
      case .q2_K, .q3_K: .q4_0
      case .q4_K: .q5_0
      case .q5_K: .q5_1
      case .q6_K: .q8_0
      default: .f16
      }
    return columns % smaller.blockElements == 0 ? smaller : .f16
  }
}
