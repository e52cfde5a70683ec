"""The head as a LiteRT model: conversion, verification, and the contents of the file."""
