import Tensor
import Transformer

/// What "better" means and how to search for it: values with weights and roles, and the corner of the
/// one search machine; or nudging, which stands alone. Immutable once a session has used it.
package final class Guidance: @unchecked Sendable {
  package let search: SearchOptions
  package private(set) var parts: [Part] = []
  package private(set) var nudging: NudgingOptions?

  package init(search: SearchOptions) { self.search = search }

  /// Adds a part; parts are numbered in the order they are added.
  ///
  /// Throws `.invalidArgument` for a weight that is not finite, or beside nudging.
  package func add(_ part: Part) throws(IVGError) {
    guard nudging == nil else {
      throw IVGError(
        .invalidArgument, "the guidance has nudging, which no other part stands beside")
    }
    guard Float(part.weight).isFinite else {
      throw IVGError(.invalidArgument, "a weight is \(part.weight); it must be finite")
    }
    parts.append(part)
  }

  /// Has a small model nudge the base, in place of a search.
  ///
  /// Throws `.invalidArgument` naming what stands in the way: parts, or options of a search.
  package func set(_ nudging: NudgingOptions) throws(IVGError) {
    let others = [
      ("parts", parts.count, 0), ("width", search.width, 1), ("successors", search.successors, 1),
      ("chunk", search.chunk ?? 0, 0), ("finished_rows", Int(search.finishedRows.rawValue), 0),
      ("dedupe", search.dedupe ? 1 : 0, 0), ("candidates", Int(search.candidates.rawValue), 0),
    ]
    if let (name, value, _) = others.first(where: { $0.1 != $0.2 }) {
      throw IVGError(
        .invalidArgument,
        name == "parts"
          ? "the guidance has \(value) parts; nudging stands alone"
          : "the guidance's \(name) is \(value); nudging has no search")
    }
    self.nudging = nudging
  }
}

/// One value of a guidance.
package struct Part {
  package enum Value {
    case implicit(ImplicitValue)
    case explicit(ExplicitValue)
    case scorer(HostScorer)
  }

  package let value: Value
  package let weight: Double
  package let role: Role

  package init(_ value: Value, weight: Double, role: Role) {
    self.value = value
    self.weight = weight
    self.role = role
  }
}

/// What a value is used for.
package struct Role: OptionSet, Sendable {
  package let rawValue: UInt32
  package init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Changes every token's distribution (IVG eq. 6, 7).
  package static let tilt = Role(rawValue: 1)
  /// Ranks rows at the end of each chunk (IVG eq. 9, 10).
  package static let score = Role(rawValue: 2)
}

/// One side of an implicit value: a model, perhaps with an adapter, under a prompt template.
package struct Guide {
  /// nil: the adapter's trunk, else the session's model.
  package var model: LanguageModel?
  package var adapter: Adapter?
  /// The text that `{prompt}` is put into; nil: the bare prompt.
  package var template: [UInt8]?

  package init(model: LanguageModel?, adapter: Adapter?, template: [UInt8]?) {
    self.model = model
    self.adapter = adapter
    self.template = template
  }
}

/// β Σ (log π* − log π_ref), IVG eq. 3.
package struct ImplicitValue {
  package var tuned: Guide
  /// nil: the base model's own rows.
  package var untuned: Guide?
  /// A score is divided by the number of tokens.
  package var lengthAverage: Bool

  package init(tuned: Guide, untuned: Guide?, lengthAverage: Bool) {
    self.tuned = tuned
    self.untuned = untuned
    self.lengthAverage = lengthAverage
  }
}

/// V_θ(x, y'), IVG eq. 4.
package struct ExplicitValue {
  package var head: ValueHead
  package var model: LanguageModel
  package var template: [UInt8]?

  package init(head: ValueHead, model: LanguageModel, template: [UInt8]?) {
    self.head = head
    self.model = model
    self.template = template
  }
}

/// The host's own scorer of texts.
package final class HostScorer {
  /// One text to be scored: the response so far, and whether it is complete.
  package struct Text {
    package let bytes: [UInt8]
    package let isFinished: Bool
  }

  /// Scores of the texts as answers to the prompt; nil reports failure.
  package let score: (_ prompt: [UInt8], [Text]) -> [Double]?
  private let finalizer: () -> Void

  package init(
    score: @escaping ([UInt8], [Text]) -> [Double]?, finalizer: @escaping () -> Void
  ) {
    self.score = score
    self.finalizer = finalizer
  }

  deinit { finalizer() }
}
