import Guidance
import Tensor
import TestSupport
import Testing
import Transformer

@Suite struct MemoryPlanTests {
  let models: Models

  init() throws { models = try Models() }

  struct Shape: CustomTestStringConvertible {
    var width: Int
    var successors: Int
    var chunk: Int
    var tokens: Int
    var testDescription: String { "(\(width), \(successors), \(chunk)), \(tokens) tokens" }
  }

  static let shapes = [
    Shape(width: 1, successors: 1, chunk: 0, tokens: 50),
    Shape(width: 6, successors: 1, chunk: 0, tokens: 33),
    Shape(width: 1, successors: 7, chunk: 0, tokens: 40),
    Shape(width: 2, successors: 2, chunk: 30, tokens: 100),
    Shape(width: 4, successors: 4, chunk: 5, tokens: 64),
    Shape(width: 3, successors: 5, chunk: 1, tokens: 90),
    Shape(width: 2, successors: 6, chunk: 16, tokens: 129),
    Shape(width: 5, successors: 2, chunk: 15, tokens: 75),
    Shape(width: 3, successors: 3, chunk: 14, tokens: 100),
    Shape(width: 2, successors: 4, chunk: 13, tokens: 100),
  ]

  /// A scorer that keeps one row of each family, where a family is the first letter: the kept rows then share
  /// nothing but the prompt, which is the most that a search can hold.
  private var apart: Part {
    Part(
      .scorer(
        HostScorer(
          score: { _, texts in
            var seen: Set<UInt8> = []
            return texts.map { seen.insert($0.bytes.first ?? 0).inserted ? 1 : 0 }
          }, finalizer: {})), weight: 1, role: .score)
  }

  /// A row's first token tells its family.
  private func families(_ successors: Int, _ options: inout GenerateOptions) throws {
    let tokenizer = models.llama.tokenizer
    let letters = try "abcdefghij".map { try encode(tokenizer, String($0))[0] }
    options.processor = { row, drawn, logits in
      guard drawn.isEmpty else { return true }
      for index in logits.indices { logits[index] = -.infinity }
      logits[Int(letters[row / successors])] = 0
      return true
    }
  }

  @Test("a search never holds more pages than were planned", arguments: shapes, [0, 1, 15, 16])
  func pages(_ shape: Shape, longer: Int) throws {
    let templates = ImplicitValue(
      tuned: models.guide(models.llama, template: "Joy: {prompt}"),
      untuned: models.guide(models.untuned, template: "{prompt}"), lengthAverage: false)
    let values: [[Part]] = [
      [],
      [Part(.implicit(models.implicit), weight: 1, role: [.tilt, .score])],
      [Part(.implicit(templates), weight: 1, role: .score)],
      [Part(.explicit(models.explicit(models.scalarHead)), weight: 1, role: .score)],
      [
        Part(.implicit(models.implicit), weight: 1, role: .tilt),
        Part(.explicit(models.explicit(models.adaptedHead)), weight: 1, role: .score),
      ],
    ]
    for parts in values {
      for ends in [false, true] {
        let session = try session(models.llama)
        var request = options(shape.tokens) {
          $0.ignoresEnd = !ends
          if ends { $0.stopStrings = [Array("e".utf8)] }
        }
        try families(shape.successors, &request)
        let guide = try guidance(
          parts + [apart], width: shape.width, successors: shape.successors, chunk: shape.chunk)
        let text = prompt + [UInt8](repeating: UInt8(ascii: "x"), count: longer)
        _ = try session.run(guide, request, prompt: text)
        for part in session.plan!.trunks {
          let engine = try session.engine(for: part.trunk)
          let most = engine.residentBytes / Engine.pageBytes(part.trunk)
          #expect(most <= part.pages, "\(parts.count) values, ends: \(ends)")
          // And what was planned is near it, where rows go to the end.
          if parts.isEmpty, !ends { #expect(part.pages <= most * 3) }
        }
      }
    }
  }
}
