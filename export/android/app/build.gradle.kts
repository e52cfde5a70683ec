plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "org.isplit.edge"
    compileSdk = 35

    defaultConfig {
        applicationId = "org.isplit.edge"
        minSdk = 28 // ImageDecoder, which turns a camera's pictures upright; LiteRT itself asks for 23
        targetSdk = 35
        versionCode = 1
        versionName = "0.1.0"
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions { jvmTarget = "17" }
    sourceSets["main"].assets.srcDir(layout.buildDirectory.dir("bundle-assets"))
}

// The application carries what a device needs of a bundle: manifest.json and the head.
val bundleDirectory = providers.gradleProperty("bundle").map { rootDir.resolve(it) }
val copyBundle by tasks.registering(Sync::class) {
    from(bundleDirectory) { include("manifest.json", "edge/head.tflite") }
    into(layout.buildDirectory.dir("bundle-assets/bundle"))
    doFirst {
        val manifest = bundleDirectory.get().resolve("manifest.json")
        check(manifest.isFile) { "$manifest is not there: 'make demo' makes it, -Pbundle=DIR names another bundle" }
    }
}

// With -Pkit=DIR, which isplit kit wrote, it measures the device too.
val copyKit by tasks.registering(Sync::class) {
    from(providers.gradleProperty("kit").map { rootDir.resolve(it) }) {
        include("kit.json", "images.npz", "heads/**", "whole/**")
    }
    into(layout.buildDirectory.dir("bundle-assets/kit"))
}
tasks.named("preBuild") { dependsOn(copyBundle, copyKit) }

dependencies {
    // The only dependency: LiteRT, with its Interpreter.
    implementation("com.google.ai.edge.litert:litert:2.1.5")
}
