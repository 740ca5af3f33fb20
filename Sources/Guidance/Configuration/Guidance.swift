import Tensor
import Transformer

/// What "better" means and how to search for it: values with weights and roles, and the corner of the
/// one search machine. Immutable once a session has used it.
package final class Guidance: @unchecked Sendable {
  package let search: SearchOptions
  package private(set) var parts: [Part] = []

  package init(search: SearchOptions) { self.search = search }

  /// Adds a part; parts are numbered in the order they are added.
  ///
  /// Throws `.invalidArgument` for a weight that is not finite.
  package func add(_ part: Part) throws(IVGError) {
    guard Float(part.weight).isFinite else {
      throw IVGError(.invalidArgument, "a weight is \(part.weight); it must be finite")
    }
    parts.append(part)
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
