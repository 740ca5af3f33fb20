import CIVGKernels
import Glibc

/// The inner loops for one instruction set: a view of one of the static tables of CIVGKernels.
///
/// Tables differ in speed only; every table gives the same bits. A value may be copied and used on
/// any thread.
package struct Kernels: @unchecked Sendable {
  /// The table itself; lives as long as the process.
  package let table: UnsafePointer<civg_kernels>

  /// The fastest table for this CPU, or the one that the environment variable `IVG_KERNELS` names
  /// (`portable`, `avx2`, `avxvnni`, `avx512vnni`, `neon-dotprod`). A name that is unknown, or that
  /// this CPU cannot run, is ignored.
  package static let current: Kernels = {
    if let name = getenv("IVG_KERNELS"), let table = civg_kernels_select(name) {
      return Kernels(table: table)
    }
    return Kernels(table: civg_kernels_select(nil))
  }()

  /// The table of that name, or nil if there is none or this CPU cannot run it.
  package static func named(_ name: String) -> Kernels? {
    civg_kernels_select(name).map { Kernels(table: $0) }
  }

  /// Every table that this CPU can run.
  package static var available: [Kernels] {
    ["portable", "avx2", "avxvnni", "avx512vnni", "neon-dotprod"].compactMap { named($0) }
  }

  /// The name by which `named` finds this table.
  package var name: String { String(cString: table.pointee.name) }

  /// The product with weights of a type. Find it once per matrix, not once per tile.
  package func product(of type: TensorType) -> civg_matmul_fn {
    civg_kernels_matmul(table, type.rawValue)!
  }

  /// Decodes stored rows of a type.
  package typealias Dequantize =
    @convention(c) (UnsafeRawPointer?, Int, UnsafeMutablePointer<Float>?) -> Void

  /// The decoder of a type: (row, columns, out); out: [columns].
  package func dequantize(_ type: TensorType) -> Dequantize {
    civg_kernels_dequantize(table, type.rawValue)!
  }

  /// Stores rows of floats as a type has them.
  package typealias Quantize =
    @convention(c) (
      UnsafePointer<Float>?, Int, Int, UnsafePointer<Float>?, UnsafeMutableRawPointer?
    ) -> Void

  /// The encoder of a type: (floats, rows, columns, weights of the columns or nil, out).
  package func quantize(_ type: TensorType) -> Quantize {
    civg_kernels_quantize(table, type.rawValue)!
  }

  /// Bytes of private, 64-byte aligned scratch that one thread needs for products of at most `rows`
  /// rows of at most `columns` elements.
  package func scratchBytes(rows: Int, columns: Int) -> Int {
    civg_matmul_scratch(table, rows, columns)
  }
}
