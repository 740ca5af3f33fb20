// swift-tools-version: 6.2
import PackageDescription

// One target per room; a room may use only the rooms below it, and the compiler holds it to that.
//
//   IVG → Training → Guidance → Transformer → Tokenizer → GGUF → Tensor → CIVGKernels
//
// Tests depend on the rooms, never on IVG: its linker settings make a self-contained shared library.

/// Strict arithmetic: a multiply and an add become a fused one only where the source says so. This is what
/// makes a result the same on every CPU.
let kernelFlags: [CSetting] = [
  .unsafeFlags(["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"])
]

/// Release builds leave out the run-time check of exclusive access, which costs a call for every property of
/// a class. Debug and sanitizer builds of the tests keep it. Regular expressions stay out: one search for a
/// string brings their whole engine along, 1.4 MB.
let roomSettings: [SwiftSetting] = [
  .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
  .unsafeFlags(["-Xfrontend", "-disable-implicit-string-processing-module-import"]),
]

let package = Package(
  name: "libivg",
  products: [.library(name: "ivg", type: .dynamic, targets: ["IVG"])],
  targets: [
    .systemLibrary(name: "CIVG", path: "include"),
    .target(name: "CIVGKernels", exclude: ["README.md"], cSettings: kernelFlags),
    .target(name: "Tensor", dependencies: ["CIVGKernels"], swiftSettings: roomSettings),
    .target(name: "GGUF", dependencies: ["Tensor"], swiftSettings: roomSettings),
    .target(
      name: "Tokenizer", dependencies: ["GGUF", "Tensor"], exclude: ["README.md"],
      swiftSettings: roomSettings),
    .target(
      name: "Transformer", dependencies: ["Tokenizer", "GGUF", "Tensor", "CIVGKernels"],
      exclude: ["README.md"], swiftSettings: roomSettings),
    .target(
      name: "Guidance", dependencies: ["Transformer", "Tokenizer", "Tensor", "CIVGKernels"],
      exclude: ["README.md"], swiftSettings: roomSettings),
    .target(
      name: "Training",
      dependencies: ["Guidance", "Transformer", "Tokenizer", "GGUF", "Tensor", "CIVGKernels"],
      exclude: ["README.md"], swiftSettings: roomSettings),
    .target(
      name: "IVG",
      dependencies: ["CIVG", "Training", "Guidance", "Transformer", "Tokenizer", "GGUF", "Tensor"],
      swiftSettings: roomSettings,
      linkerSettings: [
        .unsafeFlags(
          [
            "-static-stdlib",
            "-Xlinker", "-soname=libivg.so.0",
            "-Xlinker", "--version-script=\(Context.packageDirectory)/bindings/c/ivg.map",
            "-Xlinker", "-z", "-Xlinker", "nodelete",
            "-use-ld=lld", "-Xlinker", "--gc-sections", "-Xlinker", "--icf=all",
          ], .when(platforms: [.linux], configuration: .release))
      ]),
    .target(
      name: "TestSupport", dependencies: ["Tensor", "GGUF"], path: "Tests/TestSupport"),
    .testTarget(name: "TensorTests", dependencies: ["Tensor", "CIVGKernels", "TestSupport"]),
    .testTarget(name: "GGUFTests", dependencies: ["GGUF", "TestSupport"]),
    .testTarget(name: "TokenizerTests", dependencies: ["Tokenizer", "TestSupport"]),
    .testTarget(name: "TransformerTests", dependencies: ["Transformer", "TestSupport"]),
    .testTarget(
      name: "GuidanceTests",
      dependencies: ["Guidance", "Tensor", "Tokenizer", "Transformer", "TestSupport"]),
    .testTarget(
      name: "TrainingTests",
      dependencies: [
        "Training", "Guidance", "Transformer", "Tokenizer", "GGUF", "Tensor", "CIVGKernels",
        "TestSupport",
      ]),
  ]
)
