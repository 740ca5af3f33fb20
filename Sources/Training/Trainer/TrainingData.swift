import Tensor
import Tokenizer

/// The examples of one file as an objective needs them, tokenised when they are asked for.
final class TrainingData {
  let file: DataFile
  /// Tokens of the longest example, and of its longest sequence.
  private(set) var longestExample = 0
  private(set) var longestSequence = 0
  private let encoder: ExampleEncoder
  private let isEvaluation: Bool

  /// Checks every line, also that something to learn is left of it once it is tokenised.
  ///
  /// `needsShare`: rewards are within 0 ... 1. Throws what `DataFile` throws.
  init(
    path: String, reader: ExampleReader, encoder: ExampleEncoder, isEvaluation: Bool,
    needsShare: Bool
  ) throws(IVGError) {
    self.encoder = encoder
    self.isEvaluation = isEvaluation
    var longest = (example: 0, sequence: 0)
    file = try DataFile(
      path: path, reader: reader,
      accepts: { (example) throws(IVGError) in
        if needsShare, case .completion(_, let reward?) = example.answer, !(0...1).contains(reward)
        {
          throw IVGError(
            .invalidArgument, "\"reward\" is \(reward); this loss needs 0 ... 1")
        }
        let sequences = try Self.sequences(encoder.encode(example))
        let lengths = sequences.map(\.tokens.count)
        longest.example = max(longest.example, lengths.reduce(0, +))
        longest.sequence = max(longest.sequence, lengths.max() ?? 0)
      })
    (longestExample, longestSequence) = longest
  }

  var count: Int { file.count }

  /// Example `number`, in the order of the file.
  ///
  /// Throws `.mismatch` if the file has changed, `.io`.
  func example(_ number: Int) throws(IVGError) -> TrainingExample {
    let encoded = try encoder.encode(file.example(at: number))
    var reward = 0.0
    if case .completion(_, let given) = encoded { reward = given ?? 0 }
    return TrainingExample(
      number: number, isEvaluation: isEvaluation, sequences: try Self.sequences(encoded),
      reward: reward)
  }

  private static func sequences(_ encoded: EncodedExample) throws(IVGError) -> [EncodedSequence] {
    switch encoded {
    case .completion(let sequence, _): return [sequence]
    case .preference(let chosen, let rejected): return [chosen, rejected]
    case .skipped(let reason): throw IVGError(.invalidArgument, reason)
    }
  }
}
